{{ textlift.stage('messangi', 'broadcasts') }}
