{{ textlift.stage('mcommons', 'incoming_messages') }}
