#!/usr/bin/env bash
# `make audit`: secrets in files, licences, bills of materials (SBOM), and known vulnerabilities of what is locked.
# Everything is looked at; exit code 1 when something was found. Packages that the vulnerability service does not know,
# or cannot be asked about, are listed; with STRICT=yes they are a failure. `make lint` looks for unsafe code.
set -u
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv-audit/bin:$PATH
failed=0
mkdir -p artifacts

echo "Secrets in tracked files (a comment accepts what is none: pragma: allowlist secret):"
# Guesses by randomness are off: sums of packages look like keys.
git ls-files -z | xargs -0 detect-secrets-hook --disable-plugin HexHighEntropyString \
  --disable-plugin Base64HighEntropyString --disable-plugin KeywordDetector && echo "none" || failed=1

# What runs; the environments of the documents and of this audit stay on the developer's machine.
for name in shoplake superset; do
  [ $name = shoplake ] && python=.venv/bin/python || python=.venv-superset/bin/python
  echo "Licences of $name: artifacts/licences-$name.json"
  # Those that would bind a shop that runs this. LGPL binds who changes the library.
  pip-licenses --python $python --format json --with-urls --output-file artifacts/licences-$name.json \
    --partial-match --fail-on "AGPL;Affero;GNU General Public License v3;SSPL;Commons Clause" || failed=1
  echo "Bill of materials of $name: artifacts/sbom-$name.json"
  cyclonedx-py environment $python --output-reproducible -o artifacts/sbom-$name.json || failed=1
done
echo "Bill of materials of the JVM parts: artifacts/sbom-jvm.json"
.venv/bin/python requirements/jvm_parts.py > artifacts/sbom-jvm.json || failed=1

for lock in requirements/dev superset/requirements docs/site/requirements requirements/audit benchmarks/peers/requirements; do
  echo "Known vulnerabilities of $lock.txt:"
  pip-audit --disable-pip -r $lock.txt --progress-spinner off ${STRICT:+--strict} || failed=1
done
exit $failed
