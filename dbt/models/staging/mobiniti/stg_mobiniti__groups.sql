{{ textlift.stage('mobiniti', 'groups') }}
