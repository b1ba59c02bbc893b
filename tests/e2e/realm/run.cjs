// Node beside an unmodified SDK: `node run.cjs '{"sdk": "realm-web", "version": …, "base": …}'` prints the report of
// kit.js as one line of JSON.

const dns = require("node:dns");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const vm = require("node:vm");

dns.setDefaultResultOrder("ipv4first"); // the recorder listens there only

const config = JSON.parse(process.argv[2]);
const load = (name) => {
  const filename = path.join(__dirname, name);
  vm.runInThisContext(fs.readFileSync(filename, "utf8"), { filename });
};

load("kit.js");
kit.sdk = require(config.package);
// A device: what is stored stays until the next check.
const folders = fs.mkdtempSync(path.join(os.tmpdir(), "anonusers-sdk-"));
process.on("exit", () => fs.rmSync(folders, { recursive: true, force: true }));
kit.newFolder = () => fs.mkdtempSync(path.join(folders, "device-"));
config.checks.forEach(load);

kit.run(config).then(
  (report) => {
    process.stdout.write(JSON.stringify(report) + "\n", () => process.exit(0));
  },
  (error) => {
    console.error(error);
    process.exit(1);
  }
);
