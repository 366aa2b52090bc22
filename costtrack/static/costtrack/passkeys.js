// Says so where a passkey could not be used: somebody has cancelled, or the browser has none.
document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  let told = document.getElementById("passkey-problem");
  if (!told) {
    told = document.createElement("p");
    told.id = "passkey-problem";
    told.className = "ct-sign-in-problem";
    told.setAttribute("role", "alert");
    document.querySelector(".ct-sign-in-column h2").after(told);
  }
  told.textContent =
    event.detail.exception instanceof DOMException && event.detail.exception.name === "NotAllowedError"
      ? "No passkey was used: it was cancelled, or took too long."
      : "No passkey can be used here now. Try again, or take another way.";
});
