// A client's endpoint as its developers would write it: verifies each post with the Standard Webhooks library, answers
// 200 or 401, and says on standard output what it got. WEBHOOK_SECRET is the secret; prints its port first.
import { createServer } from "node:http"
import { Webhook } from "standardwebhooks"

const webhook = new Webhook(process.env.WEBHOOK_SECRET)

const server = createServer(async (request, response) => {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  try {
    const payload = webhook.verify(Buffer.concat(chunks), request.headers)
    console.log(JSON.stringify({ verified: true, id: request.headers["webhook-id"], payload }))
    response.writeHead(200).end('{"message": "Success"}')
  } catch (error) {
    console.log(JSON.stringify({ verified: false, why: error.message }))
    response.writeHead(401).end()
  }
})
server.listen(0, "127.0.0.1", () => console.log(`port ${server.address().port}`))
