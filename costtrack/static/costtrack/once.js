// For a page that answers a form and is shown once: reloading it must not send the form again. It leads to the address
// that the script's element names.
history.replaceState(null, "", document.currentScript.dataset.address);
