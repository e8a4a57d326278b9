#!/usr/bin/env bash
# `make audit`: secrets in files, licences, bills of materials (SBOM), and known vulnerabilities of what is locked.
# Everything is looked at; exit code 1 when something was found. A vulnerability service that cannot be reached is said
# in one sentence, and packages that it does not know are listed; with STRICT=yes both are a failure. `make lint` looks
# for unsafe code.
set -u
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv-audit/bin:$PATH
failed=0
[ "${STRICT:-}" = yes ] && strict=--strict || strict=
mkdir -p artifacts

echo "Secrets in tracked files (a comment accepts what is none: pragma: allowlist secret):"
# Guesses by randomness are off: sums of packages look like keys.
git ls-files -z | xargs -0 detect-secrets-hook --disable-plugin HexHighEntropyString \
  --disable-plugin Base64HighEntropyString --disable-plugin KeywordDetector && echo "none" || failed=1

# What runs; the environments of the documents and of this audit stay on the developer's machine.
for name in shoplake superset; do
  [ $name = shoplake ] && python=.venv/bin/python || python=.venv-superset/bin/python
  echo "Licences of $name: artifacts/licences-$name.json"
  pip-licenses --python $python --format json --with-urls > artifacts/licences-$name.json || failed=1
  # Those that would bind a shop that runs this. LGPL binds who changes the library.
  grep -E -A 3 '"License": .*(AGPL|Affero|\bGPL-?v?3|GNU General Public License v3|SSPL|Commons Clause)' \
    artifacts/licences-$name.json && failed=1
  echo "Bill of materials of $name: artifacts/sbom-$name.json"
  cyclonedx-py environment $python --output-reproducible -o artifacts/sbom-$name.json || failed=1
done
echo "Bill of materials of the JVM parts: artifacts/sbom-jvm.json"
.venv/bin/python requirements/jvm_parts.py > artifacts/sbom-jvm.json || failed=1

for lock in requirements/dev superset/requirements docs/site/requirements requirements/audit benchmarks/peers/requirements; do
  echo "Known vulnerabilities of $lock.txt:"
  if said=$(pip-audit --disable-pip -r $lock.txt --progress-spinner off $strict 2>&1); then
    echo "$said"
  elif [[ $said == *"Found "*" known vulnerabilit"* ]]; then
    echo "$said"; failed=1
  else
    echo "NOT checked, pip-audit failed: ${said##*$'\n'}"; [ -z "$strict" ] || failed=1
  fi
done
exit $failed
