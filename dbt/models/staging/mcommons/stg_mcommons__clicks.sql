{{ textlift.stage('mcommons', 'clicks') }}
