{{ textlift.stage('mcommons', 'mconnects') }}
