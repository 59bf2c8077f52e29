// A reporter for any version of mocha: what became of each test as JSON in a file, and one line each on the terminal.

'use strict';

const fs = require('fs');

function titles(runnable) {
  const path = [];
  for (let at = runnable; at; at = at.parent) if (at.title) path.unshift(at.title);
  return path;
}

module.exports = function Reporter(runner, options) {
  const tests = [];
  const note = (outcome) => (test, error) => {
    const found = { outcome, titles: titles(test), file: test.file, ms: test.duration || 0, hook: test.type === 'hook' };
    for (let at = test.parent; at && !found.file; at = at.parent) found.file = at.file;
    if (error) {
      found.message = String(error.message || error);
      found.text = String(error.stack || error);
    }
    tests.push(found);
    console.log(`${outcome}: ${found.titles.join(' > ')}${error ? `\n${found.text}` : ''}`);
  };
  runner.on('pass', note('passed'));
  runner.on('fail', note('failed'));
  runner.on('pending', note('skipped'));
  runner.once('end', () => fs.writeFileSync(options.reporterOptions.output, JSON.stringify(tests)));
};
