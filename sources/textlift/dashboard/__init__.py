"""The dashboard: pages of figures from the models and the logs of runs, and the SQL of each.

It reads: no statement here changes the warehouse, and the connections could not. It shows counts,
names of campaigns, and names and texts of broadcasts, and no row of a person.
"""

#: How to install what the dashboard needs.
EXTRA = "pip install 'textlift[dashboard]'"
#: Schema of the models.
MODELS = "texting"
