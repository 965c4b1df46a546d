{{ textlift.stage('messangi', '_dlt_loads') }}
