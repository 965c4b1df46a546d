{{ textlift.stage('textme', '_dlt_loads') }}
