{{ textlift.stage('textme', 'campaigns') }}
