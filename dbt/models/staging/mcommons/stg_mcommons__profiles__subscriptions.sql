{{ textlift.stage('mcommons', 'profiles__subscriptions') }}
