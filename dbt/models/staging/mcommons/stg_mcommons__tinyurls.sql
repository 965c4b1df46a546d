{{ textlift.stage('mcommons', 'tinyurls') }}
