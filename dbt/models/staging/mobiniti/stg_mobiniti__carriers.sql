{{ textlift.stage('mobiniti', 'carriers') }}
