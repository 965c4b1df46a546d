{{ textlift.stage('mcommons', 'profiles__clicks') }}
