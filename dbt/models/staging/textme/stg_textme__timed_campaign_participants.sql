{{ textlift.stage('textme', 'timed_campaign_participants') }}
