// Reads a JSON array of AsyncAPI documents from standard input with the public parser, and prints for each what it found
// and which channels it sees, with the content types of their messages. Severity 0 is an error.
import { readFileSync } from "node:fs"
import { Parser } from "@asyncapi/parser"

const parser = new Parser()

async function read(text) {
  const { document, diagnostics } = await parser.parse(text)
  const channels = (document?.channels().all() ?? []).map((channel) => [
    channel.address(), channel.messages().all().map((message) => message.contentType()),
  ])
  return {
    findings: diagnostics.map(({ severity, code, message, path }) => ({ severity, code, message, path: path.join(".") })),
    channels: Object.fromEntries(channels),
  }
}

const answers = []
for (const document of JSON.parse(readFileSync(0, "utf8"))) answers.push(await read(document))
process.stdout.write(JSON.stringify(answers))
