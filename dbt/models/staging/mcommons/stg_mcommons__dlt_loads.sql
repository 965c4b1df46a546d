{{ textlift.stage('mcommons', '_dlt_loads') }}
