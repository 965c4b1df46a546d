{{ textlift.stage('mobiniti', 'group_contacts') }}
