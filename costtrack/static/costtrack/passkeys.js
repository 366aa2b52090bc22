// Shows a message when a passkey could not be used.
document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  let message = document.getElementById("passkey-problem");
  if (!message) {
    message = document.createElement("p");
    message.id = "passkey-problem";
    message.className = "ct-sign-in-problem";
    message.setAttribute("role", "alert");
    document.querySelector(".ct-sign-in-column h2").after(message);
  }
  message.textContent =
    event.detail.exception instanceof DOMException && event.detail.exception.name === "NotAllowedError"
      ? "No passkey was used: the request was canceled or timed out."
      : "Passkeys are not available. Try again or sign in another way.";
});
