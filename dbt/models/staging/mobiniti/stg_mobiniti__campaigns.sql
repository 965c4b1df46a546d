{{ textlift.stage('mobiniti', 'campaigns') }}
