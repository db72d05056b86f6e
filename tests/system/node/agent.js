'use strict';

// A stock agent as a process of its own: the OpAMP client of Elastic's Node.js distribution.
//
// What happens is written to standard output, one JSON object a line; lines on standard input are
// orders: {"answer": "FAILED", "error": TEXT} sets what is said to the next configurations, and
// {"goodbye": true}, like the end of the input, ends the process as an application ends.
//
// The client waits 30 s and more after a failure.  Here such a wait is a hundred times shorter, so
// that a test sees what comes after it; what is told is the wait that the client asked for.

const LONG_MS = 20_000;
const native = globalThis.setTimeout;
globalThis.setTimeout = (then, ms, ...rest) => native(then, ms >= LONG_MS ? ms / 100 : ms, ...rest);

const diagnostics = require('diagnostics_channel');
const readline = require('readline');
const {parseArgs} = require('util');
const {
    createOpAMPClient,
    RemoteConfigStatuses,
    DIAG_CH_SEND_SUCCESS,
    DIAG_CH_SEND_FAIL,
    DIAG_CH_SEND_SCHEDULE,
} = require('@elastic/opamp-client-node');

const FULL_STATE = 1n;

const hex = (bytes) => Buffer.from(bytes ?? []).toString('hex');

function tell(event, facts) {
    process.stdout.write(JSON.stringify({event, ...facts}) + '\n');
}

function said(a2s) {
    const status = a2s.remoteConfigStatus;
    return {
        seq: Number(a2s.sequenceNum),
        described: a2s.agentDescription != null,
        status: status ? hex(status.lastRemoteConfigHash) : null,
        effective: a2s.effectiveConfig != null,
        goodbye: a2s.agentDisconnect != null,
    };
}

// What is thrown where nobody catches it leaves the client wedged; by default it ends the process.
process.on('unhandledRejection', (error) => {
    tell('wedged', {error: String(error)});
    process.exitCode = 70;
    process.exit();
});

const {values: asked} = parseArgs({
    options: {
        url: {type: 'string'},
        token: {type: 'string', default: ''},
        interval: {type: 'string', default: '0.2'},
        capabilities: {type: 'string', default: '0x3003'},
        attributes: {type: 'string', default: '{"service.name": "checkout"}'},
        uid: {type: 'string'},
    },
});

const application = {answer: 'APPLIED', error: ''};

const client = createOpAMPClient({
    endpoint: asked.url,
    headers: asked.token ? {Authorization: `Bearer ${asked.token}`} : {},
    heartbeatIntervalSeconds: Number(asked.interval),
    capabilities: BigInt(asked.capabilities),
    instanceUid: asked.uid,
    diagEnabled: true,
    onMessage: ({remoteConfig}) => {
        if (!remoteConfig) {
            return;
        }
        const files = {};
        for (const [name, held] of Object.entries(remoteConfig.config.configMap)) {
            files[name] = {body: Buffer.from(held.body).toString('utf8'), type: held.contentType};
        }
        tell('config', {hash: hex(remoteConfig.configHash), files});
        client.setRemoteConfigStatus({
            lastRemoteConfigHash: remoteConfig.configHash,
            status: RemoteConfigStatuses[`RemoteConfigStatuses_${application.answer}`],
            errorMessage: application.error,
        });
    },
});

diagnostics.subscribe(DIAG_CH_SEND_SUCCESS, ({a2s, s2a}) => {
    const settings = s2a.connectionSettings?.opamp;
    tell('answered', {
        ...said(a2s),
        uid: hex(s2a.instanceUid),
        own: hex(client.getInstanceUid()),
        capabilities: Number(s2a.capabilities),
        offered: s2a.remoteConfig ? hex(s2a.remoteConfig.configHash) : null,
        asked: Boolean(s2a.flags & FULL_STATE),
        identified: s2a.agentIdentification != null,
        settings: settings
            ? [settings.destinationEndpoint, Number(settings.heartbeatIntervalSeconds)]
            : null,
        error: '',
    });
});
diagnostics.subscribe(DIAG_CH_SEND_FAIL, ({a2s, err, retryAfterMs}) => {
    tell('failed', {...said(a2s), error: String(err), away: retryAfterMs && retryAfterMs / 1000});
});
diagnostics.subscribe(DIAG_CH_SEND_SCHEDULE, ({delayMs, errCount}) => {
    if (errCount > 0) {
        tell('waits', {seconds: delayMs / 1000, failures: errCount});
    }
});

async function leave() {
    await client.shutdown();
    process.exit(0);
}

client.setAgentDescription({identifyingAttributes: JSON.parse(asked.attributes)});
client.start();
readline
    .createInterface({input: process.stdin})
    .on('line', (line) => {
        const order = JSON.parse(line);
        if (order.goodbye) {
            leave();
            return;
        }
        application.answer = order.answer ?? application.answer;
        application.error = order.error ?? '';
    })
    .on('close', leave);
