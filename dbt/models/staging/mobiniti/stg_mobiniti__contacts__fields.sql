{{ textlift.stage('mobiniti', 'contacts__fields') }}
