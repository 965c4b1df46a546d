"""What the sources share. Data flows one way, and each module imports only those before it:

``errors`` → ``windows`` → ``endpoints`` → ``client`` (HTTP) → ``tables`` (Arrow) → ``paging`` →
``reading`` → ``resources`` (dlt) → ``loading`` (dlt pipelines).
"""
