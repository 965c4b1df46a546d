{{ textlift.stage('mgage', 'messages') }}
