// Hears inserts by `subscribe()` of the npm package postgres. Driven by bench/src/works/latency; the one
// argument is JSON:
//   host, port, user, database   of the server
//   table, until                 whose inserts, and the id of the last one
// Says {"ready": true}, and behind the last insert {"heard": [[id, nanoseconds of the monotonic clock], ..]}.
import postgres from "postgres";

const { host, port, user, database, table, until } = JSON.parse(process.argv[2]);
const sql = postgres({ host, port, user, database, publications: "alltables" });
const heard = [];
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

await sql.subscribe(
  `insert:public.${table}`,
  (row) => {
    heard.push([row.id, Number(process.hrtime.bigint())]);
    if (row.id === until) {
      say({ heard });
    }
  },
  () => say({ ready: true }),
);
// It ends with its input.
process.stdin.resume();
process.stdin.on("end", () => process.exit());
