{{ textlift.stage('mcommons', 'profiles') }}
