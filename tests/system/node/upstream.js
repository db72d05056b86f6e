'use strict';

// An upstream that is no Manager, and behaves badly if it is told to: Elastic's mock of an OpAMP server.
//
// Its address is written to standard output, and after that one JSON object for each message it took;
// the end of the input ends the process.

const {parseArgs} = require('util');
const {MockOpAMPServer} = require('@elastic/mockopampserver');

const {values: asked} = parseArgs({
    options: {
        mode: {type: 'string'},
        config: {type: 'string'},
    },
});

class Witness extends MockOpAMPServer {
    _testNoteRequest(what) {
        const code = what.res?.statusCode;
        const seq = what.a2s ? Number(what.a2s.sequenceNum) : null;
        process.stdout.write(JSON.stringify({status: code, seq}) + '\n');
    }
}

async function main() {
    const options = {hostname: '127.0.0.1', port: 0, logLevel: 'fatal'};
    if (asked.mode) {
        options.badMode = asked.mode;
    }
    if (asked.config) {
        const body = Buffer.from(asked.config, 'utf8');
        options.agentConfigMap = {configMap: {elastic: {body, contentType: 'application/json'}}};
    }
    const upstream = new Witness(options);
    await upstream.start();
    process.stdout.write(upstream.endpoint + '\n');
    process.stdin.on('end', () => process.exit(0)).resume();
}

main();
