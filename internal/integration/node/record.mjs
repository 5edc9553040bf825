// record.mjs <redis-url> <output-dir>: what the real express-session and
// connect-redis do, for the tests of package express. See README.md.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { decisions } from "./decisions.mjs";
import { documents } from "./documents.mjs";
import { Keyspace, lines, versions } from "./stack.mjs";
import { vectors } from "./vectors.mjs";

const [url, output] = process.argv.slice(2);
if (output === undefined) throw new Error("usage: node record.mjs <redis-url> <output-dir>");

await mkdir(output, { recursive: true });
const keyspace = await Keyspace.open(url);
try {
  for (const recording of [decisions, documents, vectors]) {
    const content = lines({ recorded: versions(), ...(await recording(keyspace)) });
    await writeFile(join(output, `${recording.name}.json`), content);
  }
} finally {
  await keyspace.clear();
  await keyspace.close();
}
