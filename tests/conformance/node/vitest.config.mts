import { readFileSync } from "node:fs";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // The runtime that convex-test asks for: like Convex's own, it has no Node modules.
    environment: "edge-runtime",
    include: ["test/**/*.test.ts"],
    // Written by `module.rs`: which places of the answers a plan without sources reads, and what the guide's plan verifies.
    provide: JSON.parse(readFileSync("provided.json", "utf8")) as never,
  },
});
