{{ textlift.stage('mobiniti', 'contacts') }}
