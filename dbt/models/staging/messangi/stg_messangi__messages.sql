{{ textlift.stage('messangi', 'messages') }}
