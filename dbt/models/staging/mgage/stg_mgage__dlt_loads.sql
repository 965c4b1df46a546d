{{ textlift.stage('mgage', '_dlt_loads') }}
