{{ textlift.stage('mcommons', 'outgoing_messages') }}
