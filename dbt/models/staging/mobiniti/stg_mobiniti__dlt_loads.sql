{{ textlift.stage('mobiniti', '_dlt_loads') }}
