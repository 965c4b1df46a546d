# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""The app that marimo runs: the filters, the tabs, and the page that is chosen."""

import marimo

app = marimo.App(width="full", app_title="textlift", css_file="style.css")

with app.setup:
    import marimo as mo

    from textlift.dashboard import session


@app.cell
def _():
    opened = session.open_page()
    return (opened,)


@app.cell
def _(opened):
    services, days, campaign = opened.inputs()
    tabs = opened.tabs()
    mo.vstack([opened.head(services, days, campaign), tabs])
    return campaign, days, services, tabs


@app.cell
def _(campaign, days, opened, services, tabs):
    opened.page(tabs.value, services.value, days.value, campaign.value)


if __name__ == "__main__":
    app.run()
