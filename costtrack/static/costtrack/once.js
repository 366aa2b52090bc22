// For a page that is shown once in response to a form: reloading must not submit the form again. Replaces the URL by the
// one that the script element names.
history.replaceState(null, "", document.currentScript.dataset.url);
