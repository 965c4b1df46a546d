{{ textlift.stage('mcommons', 'profiles__custom_columns') }}
