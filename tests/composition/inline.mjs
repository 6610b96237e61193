// As inline.py for a project in TypeScript, once it is compiled: `node inline.mjs PROJECT WORK_DIRECTORY <STEPS`.

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const [project, workDir] = process.argv.slice(2);
const require = createRequire(`${project}/package.json`);
const { LocalWorkspace } = require("@pulumi/pulumi/automation");
const main = require.resolve(`${project}/bin/index.js`);

async function program() {
    // Every step runs the program anew.
    for (const file of Object.keys(require.cache).filter((each) => each.startsWith(`${project}/bin/`))) {
        delete require.cache[file];
    }
    return { ...require(main) };
}

async function step(stack, verb) {
    let operations = {};
    const errors = [];
    function onEvent(event) {
        if (event.summaryEvent) {
            operations = { ...event.summaryEvent.resourceChanges };
            delete operations.same;
        }
        if (event.diagnosticEvent?.severity === "error") {
            errors.push(event.diagnosticEvent.message.trim());
        }
    }
    let succeeded = true;
    try {
        await stack[verb]({ onEvent });
    } catch (error) {
        if (error.commandResult === undefined) {
            throw error;
        }
        succeeded = false;
    }
    const outputs = Object.entries(await stack.outputs()).filter(([, output]) => !output.secret);
    return { succeeded, operations, errors, outputs: Object.fromEntries(outputs.map(([name, output]) => [name, output.value])) };
}

const projectSettings = { name: "team-chat", runtime: "nodejs" };
const stack = await LocalWorkspace.createOrSelectStack(
    { stackName: "dev", projectName: projectSettings.name, program },
    { workDir, projectSettings },
);
const told = [];
for (const [verb, config] of JSON.parse(await text(process.stdin))) {
    for (const [key, value] of Object.entries(config)) {
        await stack.setConfig(key, { value, secret: key === "kubeconfig" });
    }
    told.push(await step(stack, verb));
}
console.log(JSON.stringify(told));
