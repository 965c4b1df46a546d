{{ textlift.stage('mcommons', 'broadcasts') }}
