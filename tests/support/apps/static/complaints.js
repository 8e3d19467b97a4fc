// What goes wrong on the page, for tests to ask for.
window.complaints = [];
for (const kind of ["securitypolicyviolation", "error", "unhandledrejection"]) {
  addEventListener(kind, ({message, reason, violatedDirective, blockedURI}) => {
    complaints.push(`${kind}: ${message ?? reason ?? `${violatedDirective} ${blockedURI}`}`);
  });
}
