{{ textlift.stage('textme', 'subscriptions') }}
