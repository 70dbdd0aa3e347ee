-- A quick look at a service with wrk (github.com/wg/wrk):
--   wrk -t1 -c8 -d10s -s loadtest/quick.lua http://127.0.0.1:3000 [-- FILE]
-- FILE holds the JSON body to send. wrk is a closed loop: a connection that waits sends nothing, so a stall delays few
-- requests and looks short. `python -m loadtest run` shows its full length.

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"text": "my card was charged twice for one coffee", "budget_ms": 50}'
if wrk.path == "/" then wrk.path = "/classify_text" end

function init(args)
  if args[1] then
    local file = assert(io.open(args[1], "rb"))
    wrk.body = file:read("*a")
    file:close()
  end
end

function done(summary, latency)
  local errors, seconds = summary.errors, summary.duration / 1e6
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  local p50, p99, p999 = latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3
  print(string.format("\n%.0f answers/s; p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms; %d not 2xx, %d broken",
    (summary.requests - errors.status) / seconds, p50, p99, p999, errors.status, broken))
  -- loadtest/traffic/wrk.py reads this line.
  print(string.format('figures {"requests": %d, "seconds": %.6f, "p50_ms": %.4f, "p99_ms": %.4f, "p999_ms": %.4f, '
    .. '"max_ms": %.4f, "not_2xx": %d, "broken": %d}', summary.requests, seconds, p50, p99, p999, latency.max / 1e3,
    errors.status, broken))
end
