@rem For Windows, where `exec` in package.json would be no command; see scripts/start.js.
@%*
