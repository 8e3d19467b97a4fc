// build.js BUNDLER MODULE: bundles app.js, with MODULE for "feedback-blueprint".
import {resolve} from "node:path";

const [, , bundler, feedback] = process.argv;
const entry = resolve("app.js"), folder = resolve(bundler);
const define = {"process.env.NODE_ENV": '"production"'};

const bundlers = {
  async esbuild() {
    const {build} = await import("esbuild");
    await build({
      entryPoints: [entry], outfile: `${folder}/bundle.js`, bundle: true, format: "iife", define,
      alias: {"feedback-blueprint": feedback}, minify: true, logOverride: {"empty-import-meta": "silent"},
    });
  },

  async external() {
    const {build} = await import("esbuild");
    await build({
      entryPoints: [entry], outfile: `${folder}/bundle.js`, bundle: true, format: "esm", define,
      external: [feedback], alias: {"feedback-blueprint": feedback},
    });
  },

  async vite() {
    const {build} = await import("vite");
    await build({
      configFile: false, logLevel: "error", define, resolve: {alias: {"feedback-blueprint": feedback}},
      build: {outDir: folder, lib: {entry, formats: ["es"], fileName: () => "bundle.js"}},
    });
  },

  async webpack() {
    const {default: webpack} = await import("webpack");
    const stats = await new Promise((done, failed) => webpack({
      mode: "production", entry, output: {path: folder, filename: "bundle.js"},
      performance: {hints: false}, optimization: {minimize: false}, resolve: {alias: {"feedback-blueprint$": feedback}},
    }, (error, stats) => error ? failed(error) : done(stats)));
    if (stats.hasErrors() || stats.hasWarnings()) throw new Error(stats.toString("errors-warnings"));
  },
};

await bundlers[bundler]();
