{{ textlift.stage('mcommons', 'calls') }}
