"""The code of the quick start. `<<name>>` stands for a string literal; see portal/quick_start.py."""

WEB = """
import authgear from "@authgear/web";

const configured = authgear.configure({
  clientID: <<client_id>>,
  endpoint: <<endpoint>>,
  sessionType: <<session_type>>,
});
let asking = null;

// Whoever is here stays who they are; a new visitor becomes a guest.
export function whoIsHere() {
  asking ??= find().finally(() => (asking = null)); // many may ask at once
  return asking;
}

async function find() {
  await configured;
  try {
    return await authgear.fetchUserInfo();
  } catch (error) {
    // Else the server is away, and the guest is not.
    if (authgear.sessionState !== "NO_SESSION") throw error;
    return (await authgear.authenticateAnonymously()).userInfo;
  }
}

whoIsHere().then((user) => console.log(user.sub, user.isAnonymous));
"""

WEB_PROMOTION = """
// On a button "Keep my account": leads to a page of this server,
// and from there to your own.
export async function keepAccount() {
  await configured;
  await authgear.startPromoteAnonymousUser({
    redirectURI: <<return_uri>>,
  });
}
"""

WEB_FINISH = """
// On the page that people return to, before whoIsHere(). Once a return.
export async function comeBack() {
  await configured;
  const { userInfo } = await authgear.finishPromoteAnonymousUser();
  return userInfo; // with the same sub, and isAnonymous false
}
"""

NATIVE = """
import authgear from "@authgear/react-native";

const configured = authgear.configure({
  clientID: <<client_id>>,
  endpoint: <<endpoint>>,
});
let asking = null;

// Whoever is here stays who they are. A new guest gets a key that stays
// on the device, and comes back with it.
export function whoIsHere() {
  asking ??= find().finally(() => (asking = null)); // many may ask at once
  return asking;
}

async function find() {
  await configured;
  try {
    return await authgear.fetchUserInfo();
  } catch (error) {
    // Else the server is away, and the guest is not.
    if (authgear.sessionState !== "NO_SESSION") throw error;
    return (await authgear.authenticateAnonymously()).userInfo;
  }
}
"""

NATIVE_PROMOTION = """
// On a button "Keep my account": opens a page of this server
// and returns to the app.
export async function keepAccount() {
  await configured;
  const { userInfo } = await authgear.promoteAnonymousUser({
    redirectURI: <<return_uri>>,
  });
  return userInfo; // with the same sub, and isAnonymous false
}
"""

FETCH = """
const API = <<api>>;
const CLIENT_ID = <<client_id>>;
let access = null; // { token, until }: in memory only
let asking = null;

async function post(path, body, headers) {
  const answer = await fetch(API + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  const data = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(data.detail), { code: data.code });
  return data;
}

function keep(answer) {
  access = { token: answer.access_token, until: Date.now() + answer.expires_in * 900 };
  if (answer.refresh_token) localStorage.setItem("refresh_token", answer.refresh_token);
  return access.token;
}

// The access token of whoever is here. A new visitor becomes a guest.
export async function accessToken() {
  if (access && Date.now() < access.until) return access.token;
  asking ??= find().finally(() => (asking = null)); // many may ask at once
  return asking;
}

async function find() {
  const refreshToken = localStorage.getItem("refresh_token");
  if (refreshToken) {
    try {
      const body = { client_id: CLIENT_ID, refresh_token: refreshToken };
      return keep(await post("/refresh/", body));
    } catch (error) {
      // Else the server is away, and the guest is not.
      if (error.code !== "invalid_token") throw error;
      localStorage.removeItem("refresh_token");
    }
  }
  return keep(await post("/signup/", { client_id: CLIENT_ID }));
}

export async function bearer() {
  return { Authorization: "Bearer " + (await accessToken()) };
}
"""

FETCH_USE = """
export async function whoIsHere() {
  const answer = await fetch(API + "/userinfo/", { headers: await bearer() });
  return answer.json();
}

whoIsHere().then((user) => console.log(user.sub, user.is_anonymous));
"""

FETCH_PROMOTION = """
// The guest becomes a regular user with the same sub.
// askForCode() is asked where the project wants a proof.
export async function keepAccount(value, password, askForCode) {
  const loginID = { type: <<type>>, value };
  let answer = await post("/promote/", { login_id: loginID, password }, await bearer());
  if (answer.promotion) {
    const proof = { handle: answer.promotion.handle, code: await askForCode() };
    answer = await post("/promotion/verify/", proof, await bearer());
  }
  keep(answer); // every earlier session has ended
  return answer.sub;
}
"""

COOKIE = """
const API = <<api>>;
const CLIENT_ID = <<client_id>>;
let asking = null;

export async function ask(method, path, body) {
  const answer = await fetch(API + path, {
    method,
    credentials: "include", // the session is a cookie that no script can read
    headers: { "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const data = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(data.detail), { code: data.code });
  return data;
}

// Whoever is here stays who they are; a new visitor becomes a guest.
export function whoIsHere() {
  asking ??= find().finally(() => (asking = null)); // many may ask at once
  return asking;
}

async function find() {
  try {
    return await ask("GET", "/userinfo/");
  } catch (error) {
    // Else the server is away, and the guest is not.
    if (error.code !== "not_signed_in") throw error;
    return ask("POST", "/signup/", { client_id: CLIENT_ID, kind: "cookie" });
  }
}

whoIsHere().then((user) => console.log(user.sub, user.is_anonymous));
"""

COOKIE_PROMOTION = """
// The guest becomes a regular user with the same sub.
// askForCode() is asked where the project wants a proof.
export async function keepAccount(value, password, askForCode) {
  const loginID = { type: <<type>>, value };
  let answer = await ask("POST", "/promote/", { login_id: loginID, password });
  if (answer.promotion) {
    const proof = { handle: answer.promotion.handle, code: await askForCode() };
    answer = await ask("POST", "/promotion/verify/", proof);
  }
  return answer.sub;
}
"""

REALM_WEB = """
import * as Realm from "realm-web";

const app = new Realm.App({ id: <<app_id>>, baseUrl: <<endpoint>> });
let asking = null;

// Whoever is here stays who they are; a new visitor becomes a guest.
export async function whoIsHere() {
  if (app.currentUser) return app.currentUser;
  asking ??= app.logIn(Realm.Credentials.anonymous()); // many may ask at once
  return asking.finally(() => (asking = null));
}

whoIsHere().then((user) => console.log(user.id));
"""

REALM_PROMOTION = """
// The guest becomes a regular user with the same id.
export async function keepAccount(email, password) {
  const user = await whoIsHere();
  await app.emailPasswordAuth.registerUser({ email, password });
  await user.linkCredentials(Realm.Credentials.emailPassword(email, password));
}
"""

REALM_PROMOTION_BY_MAIL = """
// The address is registered, and a mail is sent. Keep the password meanwhile.
export async function keepAccount(email, password) {
  await app.emailPasswordAuth.registerUser({ email, password });
}

// On the page that the mail leads to, in the same browser.
export async function confirmed(email, password) {
  const query = new URLSearchParams(location.search);
  const [token, tokenId] = [query.get("token"), query.get("tokenId")];
  await app.emailPasswordAuth.confirmUser({ token, tokenId });
  // The guest becomes a regular user with the same id.
  const user = await whoIsHere();
  await user.linkCredentials(Realm.Credentials.emailPassword(email, password));
}
"""

REALM_BASE_URL = """
// All that changes: the base URL, without a slash at its end.
const app = new Realm.App({ id: <<app_id>>, baseUrl: <<endpoint>> });
"""

STITCH_BASE_URL = """
// All that changes: the base URL, without a slash at its end.
const configuration = new StitchAppClientConfiguration.Builder()
  .withBaseUrl(<<endpoint>>)
  .build();
const client = Stitch.initializeDefaultAppClient(<<app_id>>, configuration);
"""

REALM_CLI = """
# Your API keys are on the page "Your API keys".
realm-cli login --realm-url <<endpoint>> --api-key PUBLIC_KEY --private-api-key PRIVATE_KEY
realm-cli pull --realm-url <<endpoint>> --remote <<app_id>>
realm-cli push --realm-url <<endpoint>> --remote <<app_id>>
"""

STITCH_CLI = """
# Your API keys are on the page "Your API keys".
stitch-cli login --base-url <<endpoint>> --api-key PUBLIC_KEY --private-api-key PRIVATE_KEY
stitch-cli export --base-url <<endpoint>> --app-id <<app_id>>
stitch-cli import --base-url <<endpoint>> --app-id <<app_id>>
"""

DJANGO_SETTINGS = """
INSTALLED_APPS += ["rest_framework", "anonusers"]
# Behind CsrfViewMiddleware and AuthenticationMiddleware:
# it hands out the cookies of new guests.
MIDDLEWARE += ["anonusers.middleware.GuestMiddleware"]
"""

DJANGO_URLS = """
from django.urls import include, path

urlpatterns += [path("", include("anonusers.urls"))]
"""

DJANGO_VIEWS = """
from django.http import JsonResponse

from anonusers.decorators import guest_required_on_write


@guest_required_on_write(application=<<client_id>>)
def basket(request):
    # Who only looks makes no guest. Who writes is a user:
    # `request.user` is their row of AUTH_USER_MODEL.
    return JsonResponse({"user": request.user.pk})
"""

DJANGO_REST = """
from rest_framework.response import Response
from rest_framework.views import APIView

from anonusers.authentication import BearerAuthentication, CookieAuthentication
from anonusers.permissions import GuestOnWrite


class BasketView(APIView):
    authentication_classes = [BearerAuthentication, CookieAuthentication]
    permission_classes = [GuestOnWrite]
    guest_application = <<client_id>>

    def post(self, request):
        return Response({"user": request.user.pk})
"""
