import { defineConfig } from "vitest/config";

// The runtime that convex-test asks for: like Convex's own, it has no Node modules.
export default defineConfig({
  test: { environment: "edge-runtime", include: ["test/**/*.test.ts"] },
});
