{{ textlift.stage('mobiniti', 'messages') }}
